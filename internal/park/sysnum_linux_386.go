package park

// On 386, package syscall knows only socketcall(2), which is slower. Linux has had these calls since 4.3.
const (
	sysRecvfrom   = 371
	sysSendto     = 369
	sysSendmsg    = 370
	sysGetsockopt = 365
	sysAccept4    = 364
)
