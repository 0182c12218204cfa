package main

import (
	"fmt"
	"slices"
)

// owners returns how many of the shards each of some members should own: rendezvous hashing, as in cluster/placement.go.
func owners(ids []string, shards int) (counts []int) {
	counts = make([]int, len(ids))
	seeds := seedsOf(ids)
	for s := range shards {
		counts[winner(seeds, s)]++
	}
	return counts
}

// seedsOf returns FNV-1a of each ID.
func seedsOf(ids []string) []uint64 {
	seeds := make([]uint64, len(ids))
	for i, id := range ids {
		h := uint64(14695981039346656037)
		for j := range len(id) {
			h = (h ^ uint64(id[j])) * 1099511628211
		}
		seeds[i] = h
	}
	return seeds
}

// winner returns the index of the seed with the highest score for a shard.
func winner(seeds []uint64, shard int) (index int) {
	var best uint64
	for i, seed := range seeds {
		if score := mix(seed ^ mix(uint64(shard)+1)); score > best {
			best, index = score, i
		}
	}
	return index
}

// mix is the finaliser of SplitMix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// nodeIDs returns node-1, node-2 and so on.
func nodeIDs(n int) (ids []string) {
	for i := range n {
		ids = append(ids, fmt.Sprint("node-", i+1))
	}
	return ids
}

// balance says how unevenly shards are spread: the smallest and the largest number that a member has, and the largest as a multiple of
// the mean.
func balance(nodes, shards int) (least, most int, ratio float64) {
	counts := owners(nodeIDs(nodes), shards)
	least, most = slices.Min(counts), slices.Max(counts)
	return least, most, float64(most) * float64(nodes) / float64(shards)
}
