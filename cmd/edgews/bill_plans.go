package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/edgews/edgews"
)

// plans are the published price lists by their names for -plan.
var plans = []struct {
	name string
	plan edgews.Plan
}{
	{"durable-objects", edgews.DurableObjects},
	{"durable-objects-kv", edgews.DurableObjectsKV},
	{"durable-objects-2024", edgews.DurableObjects2024},
	{"durable-objects-2023", edgews.DurableObjects2023},
	{"workers-standard", edgews.WorkersStandard},
	{"workers-bundled", edgews.WorkersBundled},
	{"workers-unbound", edgews.WorkersUnbound},
	{"active-connection-2021", edgews.ActiveConnection2021},
}

// planNames returns the names of the published price lists.
func planNames(separator string) string {
	var names []string
	for _, p := range plans {
		names = append(names, p.name)
	}
	return strings.Join(names, separator)
}

// plansOf returns the plan with that name, all published ones for "all", or what the file with that name has.
func plansOf(name string) ([]edgews.Plan, error) {
	var all []edgews.Plan
	for _, p := range plans {
		if p.name == name {
			return []edgews.Plan{p.plan}, nil
		}
		all = append(all, p.plan)
	}
	if name == "all" {
		return all, nil
	}
	if !strings.HasSuffix(name, ".json") {
		return nil, fmt.Errorf("there is no price list %s: use %s, all, or a file that ends in .json", quote(name), planNames(", "))
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var p edgews.Plan
	if err := decodeStrictly(text, &p); err != nil {
		return nil, fmt.Errorf("%s is not a price list: %w", name, err)
	}
	return []edgews.Plan{p}, nil
}
