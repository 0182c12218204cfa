package bolt

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/edgews/edgews"
	"go.etcd.io/bbolt"
)

// The layout, version 1. Numbers are big-endian. IDs are their 32 bytes. A time is 12 bytes that sort as it does: seconds
// since 1970 with the sign bit flipped, then nanoseconds.
//
//	bucket "edgews"
//	    "version" → uint32
//	for each namespace that has ever stored anything:
//	    bucket "entries/" + namespace
//	        ID + key → value
//	    bucket "alarms/" + namespace
//	        time + ID → nothing
//	    bucket "objects/" + namespace
//	        ID → uint64 epoch, then the time of the alarm if there is one
//
// An object is in "objects" if it has an alarm or has been opened with an epoch other than 1. Its alarm is in two buckets:
// "alarms" finds it by time, "objects" finds it when it is moved.
//
// Objects have no buckets of their own, because a small bbolt bucket takes more space than its contents.
const layoutVersion = 1

var (
	metaBucket = []byte("edgews")
	versionKey = []byte("version")
)

const (
	idLen   = 32
	timeLen = 12
)

// initLayout writes the layout into an empty file, and returns an error for a file with another layout.
func initLayout(db *bbolt.DB) error {
	empty, err := checkVersion(db)
	if err != nil || !empty {
		return err
	}
	return db.Update(func(tx *bbolt.Tx) error {
		meta, err := tx.CreateBucket(metaBucket)
		if err != nil {
			return err
		}
		return meta.Put(versionKey, binary.BigEndian.AppendUint32(nil, layoutVersion))
	})
}

func checkVersion(db *bbolt.DB) (empty bool, err error) {
	err = db.View(func(tx *bbolt.Tx) error {
		if tx.Bucket(metaBucket) == nil {
			first, _ := tx.Cursor().First()
			empty = first == nil
		}
		if empty {
			return nil
		}
		return checkLayout(tx)
	})
	return empty, err
}

// checkLayout returns why a file that is not empty does not have this version's layout.
func checkLayout(tx *bbolt.Tx) error {
	meta := tx.Bucket(metaBucket)
	if meta == nil {
		return errors.New("it is a bbolt file of another program")
	}
	version := meta.Get(versionKey)
	if len(version) != 4 {
		return errors.New("it has no version")
	}
	if v := binary.BigEndian.Uint32(version); v != layoutVersion {
		return fmt.Errorf("it has layout %d, and this version of the program knows only layout %d", v, layoutVersion)
	}
	return nil
}

func entriesName(namespace string) []byte { return []byte("entries/" + namespace) }
func alarmsName(namespace string) []byte  { return []byte("alarms/" + namespace) }
func objectsName(namespace string) []byte { return []byte("objects/" + namespace) }

// buckets are the buckets of a namespace.
type buckets struct{ entries, alarms, objects *bbolt.Bucket }

func makeBuckets(tx *bbolt.Tx, namespace string) (b buckets, err error) {
	if b.entries, err = tx.CreateBucketIfNotExists(entriesName(namespace)); err != nil {
		return b, err
	}
	if b.alarms, err = tx.CreateBucketIfNotExists(alarmsName(namespace)); err != nil {
		return b, err
	}
	b.objects, err = tx.CreateBucketIfNotExists(objectsName(namespace))
	return b, err
}

// objectRecord is the value of an object in "objects".
type objectRecord struct {
	epoch uint64
	alarm time.Time // zero: none
}

// firstEpoch is the epoch of objects that are not in "objects".
const firstEpoch = 1

func getRecord(objects *bbolt.Bucket, id []byte) objectRecord {
	h := objectRecord{epoch: firstEpoch}
	if objects == nil {
		return h
	}
	v := objects.Get(id)
	if len(v) >= 8 {
		h.epoch = binary.BigEndian.Uint64(v)
	}
	if len(v) >= 8+timeLen {
		h.alarm = parseTime(v[8:])
	}
	return h
}

func putRecord(objects *bbolt.Bucket, id []byte, h objectRecord) error {
	if h.epoch == firstEpoch && h.alarm.IsZero() {
		return objects.Delete(id)
	}
	v := binary.BigEndian.AppendUint64(make([]byte, 0, 8+timeLen), h.epoch)
	if !h.alarm.IsZero() {
		v = appendTime(v, h.alarm)
	}
	return objects.Put(id, v)
}

func appendTime(b []byte, t time.Time) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(t.Unix())^1<<63)
	return binary.BigEndian.AppendUint32(b, uint32(t.Nanosecond()))
}

func parseTime(b []byte) time.Time {
	return time.Unix(int64(binary.BigEndian.Uint64(b)^1<<63), int64(binary.BigEndian.Uint32(b[8:])))
}

func alarmKey(t time.Time, id []byte) []byte {
	return append(appendTime(make([]byte, 0, timeLen+idLen), t), id...)
}

func idBytes(id edgews.ID) []byte {
	text, _ := id.MarshalText() // it never fails
	b, _ := hex.DecodeString(string(text))
	return b
}

func parseID(b []byte) (id edgews.ID, err error) {
	return id, id.UnmarshalText(hex.AppendEncode(nil, b))
}

// maxKeyLen is the longest key in bytes: bbolt's limit less the ID.
const maxKeyLen = bbolt.MaxKeySize - idLen

// checkBatch returns an error for a batch that bbolt would refuse.
func checkBatch(b edgews.Batch) error {
	for _, e := range b.Puts {
		if len(e.Key) > maxKeyLen {
			return fmt.Errorf("edgews: bolt store: key has %d bytes; the limit is %d", len(e.Key), maxKeyLen)
		}
		if int64(len(e.Value)) > min(bbolt.MaxValueSize, math.MaxInt) {
			return fmt.Errorf("edgews: bolt store: value of %q has %d bytes; the limit is %d", e.Key, len(e.Value), bbolt.MaxValueSize)
		}
	}
	return nil
}
