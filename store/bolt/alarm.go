package bolt

import (
	"context"
	"time"

	"github.com/edgews/edgews"
	"go.etcd.io/bbolt"
)

// DueAlarms reads only the alarms that it returns, since alarms are stored in the order of their times. Times are exact to the
// nanosecond.
func (s *Store) DueAlarms(ctx context.Context, namespace string, until time.Time, limit int) (due []edgews.DueAlarm, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var damaged error
	err = s.view(func(tx *bbolt.Tx) {
		alarms := tx.Bucket(alarmsName(namespace))
		if alarms == nil {
			return
		}
		c := alarms.Cursor()
		for k, _ := c.First(); len(k) == timeLen+idLen && len(due) < limit && damaged == nil; k, _ = c.Next() {
			a := edgews.DueAlarm{Time: parseTime(k)}
			if a.Time.After(until) {
				return
			}
			a.ID, damaged = parseID(k[timeLen:])
			due = append(due, a)
		}
	})
	if err == nil {
		err = damaged
	}
	return due, err
}
