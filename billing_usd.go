package edgews

import (
	"bytes"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
)

// USD is an amount of money in billionths of a US dollar: fine enough for the price of one message, exact, and up to nine
// billion dollars. An amount beyond that is the greatest that there is, or the least.
type USD int64

// Amounts to write prices with: 15*Cent.
const (
	Dollar USD = 1_000_000_000
	Cent       = Dollar / 100
)

// String returns the amount to the cent, such as "$142.95". Half a cent is rounded up: "$5.08" for 5.075. A negative
// amount is written as the positive one, with a minus sign before it.
func (a USD) String() string {
	cents := (a.magnitude() + uint64(Cent)/2) / uint64(Cent)
	sign := ""
	if a < 0 && cents > 0 {
		sign = "-"
	}
	return fmt.Sprintf("%s$%d.%02d", sign, cents/100, cents%100)
}

// MarshalText returns the exact amount as a decimal number with two to nine decimals, such as "142.95" or "5.075". In
// JSON it is that string.
func (a USD) MarshalText() ([]byte, error) { return []byte(a.decimal()), nil }

// UnmarshalText reads what [ParseUSD] reads.
func (a *USD) UnmarshalText(text []byte) (err error) {
	*a, err = ParseUSD(string(text))
	return err
}

// UnmarshalJSON reads a string that [ParseUSD] reads, or a plain decimal number, which is as exact.
func (a *USD) UnmarshalJSON(data []byte) error {
	if bytes.Equal(data, []byte("null")) {
		return nil // as encoding/json has it
	}
	text := string(data)
	if strings.HasPrefix(text, `"`) {
		var err error
		if text, err = strconv.Unquote(text); err != nil {
			return fmt.Errorf("edgews: %s is not an amount of money", data)
		}
	}
	return a.UnmarshalText([]byte(text))
}

// ParseUSD reads an amount: digits, perhaps a point and up to nine decimals, before that perhaps a dollar sign, and before
// that perhaps a minus sign. It reads whatever String and MarshalText return.
func ParseUSD(s string) (USD, error) {
	unsigned := strings.TrimPrefix(s, "-")
	whole, decimals, point := strings.Cut(strings.TrimPrefix(unsigned, "$"), ".")
	if !areDigits(whole) || point && !areDigits(decimals) {
		return 0, fmt.Errorf(`edgews: %q is not an amount of money: write it like "12.50"`, s)
	}
	if len(decimals) > 9 {
		return 0, fmt.Errorf("edgews: amount %q has %d decimals; the limit is 9", s, len(decimals))
	}
	sign := s[:len(s)-len(unsigned)]
	nanos, err := strconv.ParseInt(sign+whole+decimals+strings.Repeat("0", 9-len(decimals)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("edgews: amount %q is too great; the limit is %s", s, USD(math.MaxInt64).decimal())
	}
	return USD(nanos), nil
}

func areDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// decimal is the exact amount, with two decimals at least.
func (a USD) decimal() string {
	sign := ""
	if a < 0 {
		sign = "-"
	}
	whole, nanos := a.magnitude()/uint64(Dollar), a.magnitude()%uint64(Dollar)
	decimals := fmt.Sprintf("%09d", nanos)
	return fmt.Sprintf("%s%d.%s%s", sign, whole, decimals[:2], strings.TrimRight(decimals[2:], "0"))
}

// exact is decimal with a dollar sign, for people.
func (a USD) exact() string {
	if a < 0 {
		return "-$" + a.decimal()[1:]
	}
	return "$" + a.decimal()
}

// magnitude is right for the least amount too, which has no positive counterpart.
func (a USD) magnitude() uint64 {
	if a < 0 {
		return -uint64(a)
	}
	return uint64(a)
}

// usdOf returns num/den, rounded to the nearest amount, halves away from zero.
func usdOf(num, den *big.Int) USD {
	double := new(big.Int).Abs(num)
	double.Lsh(double, 1).Add(double, den)
	double.Quo(double, new(big.Int).Lsh(den, 1))
	if num.Sign() < 0 {
		double.Neg(double)
	}
	return USD(clampInt64(double))
}

// clampInt64 returns the int64 that is nearest.
func clampInt64(x *big.Int) int64 {
	switch {
	case x.IsInt64():
		return x.Int64()
	case x.Sign() < 0:
		return math.MinInt64
	default:
		return math.MaxInt64
	}
}
