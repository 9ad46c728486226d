// Probe does what a hostile step of a Dockerfile would, and says how far it came.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

const wanted = 10_000

func main() {
	switch os.Args[1] {
	case "write":
		if err := os.WriteFile(os.Args[2], []byte("mine"), 0o644); err != nil {
			fail(err)
		}
	case "empty":
		found, err := os.ReadDir(os.Args[2])
		if err != nil || len(found) > 0 {
			fail(fmt.Errorf("%s holds %v (%v)", os.Args[2], found, err))
		}
	case "fill":
		file, err := os.Create(os.Args[2])
		for err == nil {
			_, err = file.Write(make([]byte, 1<<20))
		}
		fail(err)
	case "print":
		for {
			fmt.Println(strings.Repeat("x", 1000))
		}
	case "fork":
		for number := range wanted {
			if err := exec.Command("/proc/self/exe", "sleep").Start(); err != nil {
				fail(fmt.Errorf("no more after %d processes: %w", number, err))
			}
		}
		fmt.Println("forked without an end")
	case "sleep":
		time.Sleep(time.Hour)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "probe:", err)
	os.Exit(1)
}
