package park

// sysGetsockopt is in Linux since 4.3; package syscall knows socketcall only.
const sysGetsockopt = 365
