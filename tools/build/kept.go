package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/moby/buildkit/client"
)

const lookEvery = time.Second

// kept is the folder of BuildKit's daemon. Where one outlives its pod it is one App's on one machine:
// base images lie in it unpacked, layers and cache mounts as the last build left them. It is called
// `running` while a build uses it: what was left so is of a build that was killed, and is not trusted.
type kept struct {
	folder string
	// What a build may take of the disk, in bytes. Half of that may stay for the next one.
	most uint64
	lock *os.File
}

// open finds the daemon's folder: the one that was kept in *folder*, or an empty one in *otherwise*
// where none is, or another build of the App has yet to let go of it.
func open(folder, otherwise string, most uint64, clear bool) (*kept, error) {
	if folder == "" {
		return &kept{folder: otherwise, most: most}, nil
	}
	k := &kept{folder: folder, most: most}
	if err := k.hold(); err != nil {
		fmt.Printf("begins with nothing of earlier builds: %s\n", err)
		return &kept{folder: otherwise, most: most}, nil
	}
	if err := k.forget(); err != nil {
		return nil, err
	}
	if clear {
		return k, os.RemoveAll(k.rest())
	}
	if err := os.Rename(k.rest(), k.root()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return k, nil
}

func (k *kept) root() string { return filepath.Join(k.folder, "running") }

func (k *kept) rest() string { return filepath.Join(k.folder, "rest") }

func (k *kept) hold() error {
	lock, err := os.OpenFile(filepath.Join(k.folder, "lock"), os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close()
		return fmt.Errorf("another build of this App has yet to end on this machine: %w", err)
	}
	k.lock = lock
	return nil
}

// forget drops what earlier builds left.
func (k *kept) forget() error { return os.RemoveAll(k.root()) }

// keep leaves the folder to the next build, without what was used longest ago.
func (k *kept) keep(ctx context.Context, d *daemon) {
	if k.lock == nil {
		return
	}
	err := d.client.Prune(ctx, nil, client.PruneAll, client.WithKeepOpt(0, 0, int64(k.most/2), 0))
	if err == nil && !d.stop() {
		err = errors.New("BuildKit had to be killed")
	}
	if err == nil {
		err = os.Rename(k.root(), k.rest())
	}
	if err != nil {
		fmt.Printf("nothing is kept for the next build: %s\n", err)
	}
}

// drop gives the disk back at once.
func (k *kept) drop(d *daemon) {
	if k.lock == nil {
		return // goes with the pod
	}
	d.stop()
	if err := k.forget(); err != nil {
		fmt.Printf("what this build left cannot be removed yet: %s\n", err)
	}
}

// bounded ends a build that takes more of the disk than it may: the folder is the machine's, and no
// quota does. What the disk has free is asked each second, which costs nothing; only when that fell by
// half of what a build may take, since it was highest, are the files measured.
func (k *kept) bounded(ctx context.Context) (context.Context, func()) {
	ctx, end := context.WithCancelCause(ctx)
	go func() {
		var free uint64
		for {
			now := freeBytes(k.folder)
			free = max(free, now)
			if now+k.most/2 < free && takenBytes(k.folder) > k.most {
				end(faultf("the build needs more than %d MiB of disk", k.most>>20))
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(lookEvery):
			}
		}
	}()
	return ctx, func() { end(nil) }
}

func freeBytes(folder string) uint64 {
	var found syscall.Statfs_t
	if err := syscall.Statfs(folder, &found); err != nil {
		return 0
	}
	return found.Bavail * uint64(found.Bsize)
}

func takenBytes(folder string) uint64 {
	var taken uint64
	_ = filepath.WalkDir(folder, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil // a running build removes files
		}
		if info, err := entry.Info(); err == nil {
			taken += uint64(info.Sys().(*syscall.Stat_t).Blocks) * 512
		}
		return nil
	})
	return taken
}
