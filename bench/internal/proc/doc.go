// Package proc reads what Linux knows about a process, and puts processes on cores.
package proc
