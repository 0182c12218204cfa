// Package store writes durably, to compare an object's Storage on store/bolt with bbolt by itself: the same entries, of the same size, in
// transactions that hold as many writes.
package store
