package park

// Package syscall knows only socketcall(2) here, which is slower. The kernel has these since 4.3.
const (
	sysRecvfrom = 371
	sysSendto   = 369
)
