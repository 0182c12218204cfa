package edgews

import (
	"bytes"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
)

// USD is an amount of money in billionths of a US dollar (nano-dollars): exact, fine enough for the price of one message, and
// up to nine billion dollars. Results beyond that range are the greatest or the least USD.
type USD int64

// Units for prices, as in 15*Cent.
const (
	Dollar USD = 1_000_000_000
	Cent       = Dollar / 100
)

// String returns the amount rounded to the cent, such as "$142.95". Half a cent is rounded up: "$5.08" for 5.075. A negative
// amount is written like the positive one, with a leading minus sign.
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

// UnmarshalText reads the formats of [ParseUSD].
func (a *USD) UnmarshalText(text []byte) (err error) {
	*a, err = ParseUSD(string(text))
	return err
}

// UnmarshalJSON reads a string in a format of [ParseUSD], or a plain decimal number, without loss of precision.
func (a *USD) UnmarshalJSON(data []byte) error {
	if bytes.Equal(data, []byte("null")) {
		return nil // no change, by the convention of encoding/json
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

// ParseUSD reads an amount such as "12", "12.5", "$12.50" or "-$0.000000001": an optional minus sign, an optional dollar sign,
// digits, and optionally a point with up to nine decimals. It reads everything that String and MarshalText return.
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

// areDigits reports whether s consists of one or more decimal digits.
func areDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// decimal returns the exact amount with two to nine decimals.
func (a USD) decimal() string {
	sign := ""
	if a < 0 {
		sign = "-"
	}
	whole, nanos := a.magnitude()/uint64(Dollar), a.magnitude()%uint64(Dollar)
	decimals := fmt.Sprintf("%09d", nanos)
	return fmt.Sprintf("%s%d.%s%s", sign, whole, decimals[:2], strings.TrimRight(decimals[2:], "0"))
}

// exact returns the exact amount with a dollar sign.
func (a USD) exact() string {
	if a < 0 {
		return "-$" + a.decimal()[1:]
	}
	return "$" + a.decimal()
}

// magnitude returns the absolute value. It is right for the least amount too, which has no positive counterpart.
func (a USD) magnitude() uint64 {
	if a < 0 {
		return -uint64(a)
	}
	return uint64(a)
}

// usdOf returns num/den rounded to the nearest amount; halves are rounded away from zero. den must be positive.
func usdOf(num, den *big.Int) USD {
	double := new(big.Int).Abs(num)
	double.Lsh(double, 1).Add(double, den)
	double.Quo(double, new(big.Int).Lsh(den, 1))
	if num.Sign() < 0 {
		double.Neg(double)
	}
	return USD(clampInt64(double))
}
