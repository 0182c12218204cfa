package edgewsnats

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestIsNewEnough(t *testing.T) {
	for _, v := range []string{"2.15.0", "2.15.3-RC.1", "2.16.0", "3.0.0"} {
		assert.True(t, isNewEnough(v), v)
	}
	for _, v := range []string{"", "2", "2.14.9", "1.99.0", "x.y.z", "2.x"} {
		assert.False(t, isNewEnough(v), v)
	}
}

// What is stored may be anything.
func FuzzParse(f *testing.F) {
	h := head{
		epoch: 1 << 40, nonce: newNonce(), alarm: time.UnixMilli(5), alarmSeq: 3, segments: []segment{{seq: 7}, {seq: 9, parts: 1}}, isCommit: true,
		changes: contents{}.put("a", []byte("b")).snapshot(),
	}
	f.Add(h.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := parseHead(b, 1000); err == nil {
			again, err := parseHead(h.append(nil), 1000)
			assert.NoError(t, err)
			assert.Equal(t, h, again)
			_, _ = contents{}.changed(h.changes)
		}
	})
}
