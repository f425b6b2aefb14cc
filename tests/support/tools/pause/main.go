// The smallest image that runs: it does nothing until it is told to end. It holds the pods' sandboxes, and is pulled by them.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGINT, syscall.SIGTERM)
	<-ended
}
