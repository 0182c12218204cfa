package postgres

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/edgews/edgews"
	"github.com/jackc/pgx/v5"
)

// statements makes statements for the tables of one schema.
type statements struct{ schema string } // quoted

func newStatements(schema string) statements { return statements{pgx.Identifier{schema}.Sanitize()} }

// in returns a statement with the schema in the place of each @.
func (s statements) in(statement string) string { return strings.ReplaceAll(statement, "@", s.schema) }

// unsigned returns n for a column of type numeric: PostgreSQL's integers have a sign, and epochs and incarnations use all 64 bits.
func unsigned(n uint64) string { return strconv.FormatUint(n, 10) }

// parseUnsigned parses columns of type numeric that were selected as text.
func parseUnsigned(digits []string, to ...*uint64) (err error) {
	for i, n := range to {
		if *n, err = strconv.ParseUint(digits[i], 10, 64); err != nil {
			return fmt.Errorf("edgews: PostgreSQL: a number is out of range: %w", err)
		}
	}
	return nil
}

// idBytes returns the 32 bytes of an ID.
func idBytes(id edgews.ID) []byte {
	b, err := hex.DecodeString(id.String())
	if err != nil {
		panic(err) // String returns hexadecimal digits
	}
	return b
}

func parseID(b []byte) (id edgews.ID, err error) {
	err = id.UnmarshalText(hex.AppendEncode(nil, b))
	return id, err
}
