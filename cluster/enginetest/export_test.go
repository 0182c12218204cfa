package enginetest

import "time"

// SetPatience says how long a test waits for what must happen.
func SetPatience(d time.Duration) { patience = d }
