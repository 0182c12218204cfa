package server

import (
	"os"
	"runtime/pprof"
)

// profile is a running CPU profile.
type profile struct {
	name string
	cpu  *os.File
}

func (p *profile) start() (err error) {
	if p.cpu, err = os.Create(p.name + ".cpu"); err != nil {
		return err
	}
	return pprof.StartCPUProfile(p.cpu)
}

func (p *profile) stop() error {
	pprof.StopCPUProfile()
	if err := p.cpu.Close(); err != nil {
		return err
	}
	f, err := os.Create(p.name + ".allocs")
	if err != nil {
		return err
	}
	defer f.Close()
	return pprof.Lookup("allocs").WriteTo(f, 0)
}
