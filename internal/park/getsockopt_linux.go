//go:build linux && !386

package park

import "syscall"

const sysGetsockopt = syscall.SYS_GETSOCKOPT
