//go:build linux && !386

package park

import "syscall"

const (
	sysRecvfrom   = syscall.SYS_RECVFROM
	sysSendto     = syscall.SYS_SENDTO
	sysSendmsg    = syscall.SYS_SENDMSG
	sysGetsockopt = syscall.SYS_GETSOCKOPT
	sysAccept4    = syscall.SYS_ACCEPT4
)
