package inspect

import "cmp"

// Bounds of a reply.
const (
	maxRows           = 500 // of a list
	defaultRows       = 100
	defaultStorage    = 50
	detailConnections = 100
	detailLogEntries  = 20
	maxAlarms         = 1000 // among which that of an object that is not in memory is looked for
)

// rowLimit returns how many rows a list has at most.
func rowLimit(asked, otherwise int) int { return min(max(cmp.Or(asked, otherwise), 1), maxRows) }

// page returns the part of list that begins at offset and has at most limit entries, and where it begins.
func page[T any](list []T, offset, limit int) ([]T, int) {
	offset = min(max(offset, 0), len(list))
	return list[offset:min(len(list), offset+limit)], offset
}
