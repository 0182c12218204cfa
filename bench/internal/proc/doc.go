// Package proc reads the counters of Linux for a process, and pins processes to cores.
package proc
