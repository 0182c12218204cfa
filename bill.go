package edgews

// Bill is what a [Plan] asks for a [Usage]. Its total is the sum of its lines.
type Bill struct {
	Plan  string `json:"plan"`
	Lines []Line `json:"lines"`
	Total USD    `json:"total"`
}

// Line is one item of a bill. Quantities are in whole units, of which one that has begun counts as one; the cost may be
// for less, if the plan charges fractions.
type Line struct {
	Item     string `json:"item"`
	Quantity int64  `json:"quantity"` // that was used
	Included int64  `json:"included"` // in the plan
	Billed   int64  `json:"billed"`   // what is beyond, after the plan's rounding
	Unit     string `json:"unit"`
	Price    USD    `json:"price"` // of Per units
	Per      int64  `json:"per"`
	Cost     USD    `json:"cost"`
}
