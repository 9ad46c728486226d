// Command pause is the first process of a pod sandbox and of a machine: it reaps the processes
// that lost their parent and ends on SIGTERM or SIGINT, taking its namespaces with it.
//
// As the first process of a machine it can also hold a command: `pause -- COMMAND ARG…` starts it
// in its own process group, passes SIGTERM on, and ends with its exit code.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

// reap collects every child that has ended. It returns the status of the one it is told about.
func reap(watched int) (status syscall.WaitStatus, ended bool) {
	for {
		var current syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &current, syscall.WNOHANG, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return status, ended
		}
		if pid == watched {
			status, ended = current, true
		}
	}
}

func exitCode(status syscall.WaitStatus) int {
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

// start runs the command without waiting for it: waiting is reap's, or the two would race.
func start(args []string) (int, error) {
	path, err := exec.LookPath(args[0])
	if err != nil {
		return 0, err
	}
	process, err := os.StartProcess(path, args, &os.ProcAttr{
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
		Sys:   &syscall.SysProcAttr{Setpgid: true},
	})
	if err != nil {
		return 0, err
	}
	pid := process.Pid
	return pid, process.Release()
}

func run(args []string) int {
	signals := make(chan os.Signal, 64)
	signal.Notify(signals, syscall.SIGCHLD, syscall.SIGTERM, syscall.SIGINT)
	child := -1
	if len(args) > 0 {
		pid, err := start(args)
		if err != nil {
			fmt.Fprintln(os.Stderr, "pause:", err)
			return 127
		}
		child = pid
	}
	for received := range signals {
		switch {
		case received == syscall.SIGCHLD:
			if status, ended := reap(child); ended {
				return exitCode(status)
			}
		case child > 0:
			_ = syscall.Kill(-child, received.(syscall.Signal))
		default:
			return 0
		}
	}
	return 0
}

func main() {
	args := os.Args[1:]
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	os.Exit(run(args))
}
