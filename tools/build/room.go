package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

const (
	// leastFree is the part of a machine's disk that kept builds leave free: a kubelet begins to remove
	// images at 15 % (imageGCHighThresholdPercent) and to evict pods at 10 % (nodefs.available).
	leastFree = 0.2
	// longestIdle is how long something is kept for an App that is not built, or is gone.
	longestIdle = 7 * 24 * time.Hour
	// inUse is how long after its room was made a build may take to begin and end.
	inUse = time.Hour
)

// room makes room for a build among what is kept on its machine, one folder for each App. It runs
// none of the tenants' code, and is the only step that sees more than its own App's folder.
func room(_ context.Context, flags *flag.FlagSet, args []string, _ *outcome) error {
	folder := flags.String("builds", "/builds", "folder with a folder for each App")
	app := flags.String("app", "", "name of the folder of this build's App")
	free := flags.Float64("least-free", leastFree, "part of the disk that is to stay free")
	if err := flags.Parse(args); err != nil {
		return err
	}
	// Files of images lie here as they are, with the bits that lend rights: for nobody to reach.
	if err := os.Chmod(*folder, 0o700); err != nil {
		return err
	}
	if err := touch(filepath.Join(*folder, *app, "used")); err != nil {
		return err
	}
	others, err := keptOthers(*folder, *app)
	if err != nil {
		return err
	}
	for _, each := range others {
		idle := time.Since(each.used)
		if idle < inUse {
			break
		}
		if (idle < longestIdle && freePart(*folder) >= *free) || !remove(filepath.Join(*folder, each.name)) {
			continue
		}
		fmt.Printf("removed what was kept of another App's builds, last used %s\n",
			each.used.UTC().Format(time.RFC3339))
	}
	return nil
}

type keptOther struct {
	name string
	used time.Time
}

// keptOthers lists what is kept of other Apps, longest unused first. The stamp lies where no build
// sees it, so that none can make itself look young.
func keptOthers(folder, app string) ([]keptOther, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	var found []keptOther
	for _, each := range entries {
		if each.Name() == app {
			continue
		}
		other := keptOther{name: each.Name()}
		// Without a stamp its first build is only just beginning, or never began.
		for _, stamp := range []string{filepath.Join(folder, other.name, "used"), filepath.Join(folder, other.name)} {
			if info, err := os.Lstat(stamp); err == nil {
				other.used = info.ModTime()
				break
			}
		}
		found = append(found, other)
	}
	slices.SortFunc(found, func(a, b keptOther) int { return a.used.Compare(b.used) })
	return found, nil
}

// remove removes what is kept of an App, unless a build of it runs.
func remove(folder string) bool {
	held := filepath.Join(folder, "state", "lock")
	// A tenant may have put anything there: no link is followed, and no pipe waited for.
	lock, err := os.OpenFile(held, os.O_RDWR|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err == nil {
		defer lock.Close()
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
			return false
		}
	}
	if err := os.RemoveAll(folder); err != nil {
		fmt.Printf("cannot remove what was kept: %s\n", err)
		return false
	}
	return true
}

func freePart(folder string) float64 {
	var found syscall.Statfs_t
	if err := syscall.Statfs(folder, &found); err != nil {
		return 1
	}
	return float64(found.Bavail) / float64(found.Blocks)
}

func touch(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, nil, 0o600)
}
