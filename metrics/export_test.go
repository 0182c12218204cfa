package metrics

// Tally is a tally, for its test.
type Tally struct{ tally }

func (t *Tally) Add(bucket uint8, low, high uint64) { t.add(bucket, low|high<<partBits) }

func (t *Tally) Read() (count, low, high uint64) {
	var buckets [maxBuckets]uint64
	low, high = t.read(buckets[:])
	for _, n := range buckets {
		count += n
	}
	return count, low, high
}
