package conformance

import "strings"

// Section 7: closing.

var closeHandling = []autobahnCase{
	{"7.1.1", 0, frames(text("Hello World!")), frames(text("Hello World!")), closedByPeer},
	{"7.1.2", 0, frames(closeWith(1000, ""), closeWith(1000, "")), nil, closed(1000)},
	{"7.1.3", 0, frames(closeWith(1000, ""), ping("Hello World!")), nil, closed(1000)},
	{"7.1.4", 0, frames(closeWith(1000, ""), text("Hello World!")), nil, closed(1000)},
	{"7.1.5", 0, frames(text("fragment1").more(), closeWith(1000, ""), cont("fragment2")), nil, closed(1000)},
	// Upstream accepts any result. Messages before the Close must be echoed before it.
	{"7.1.6", 0, frames(text(stars(256<<10)), closeWith(1000, ""), ping("")), frames(text(stars(256 << 10))), closed(1000)},

	{"7.3.1", 0, frames(closing("")), nil, closed(0)},
	{"7.3.2", 0, frames(closing("a")), nil, fails(brokenRule)},
	{"7.3.3", 0, frames(closeWith(1000, "")), nil, closed(1000)},
	{"7.3.4", 0, frames(closeWith(1000, "Hello World!")), nil, closed(1000)},
	{"7.3.5", 0, frames(closeWith(1000, strings.Repeat("*", 123))), nil, closed(1000)},
	{"7.3.6", 0, frames(closeWith(1000, strings.Repeat("*", 124))), nil, fails(brokenRule)},

	{"7.5.1", 0, frames(closeWith(1000, kosme+surrogate+edited)), nil, fails(badText)},

	{"7.7.1", 0, frames(closeWith(1000, "")), nil, closed(1000)},
	{"7.7.2", 0, frames(closeWith(1001, "")), nil, closed(1001)},
	{"7.7.3", 0, frames(closeWith(1002, "")), nil, closed(1002)},
	{"7.7.4", 0, frames(closeWith(1003, "")), nil, closed(1003)},
	{"7.7.5", 0, frames(closeWith(1007, "")), nil, closed(1007)},
	{"7.7.6", 0, frames(closeWith(1008, "")), nil, closed(1008)},
	{"7.7.7", 0, frames(closeWith(1009, "")), nil, closed(1009)},
	{"7.7.8", 0, frames(closeWith(1010, "")), nil, closed(1010)},
	{"7.7.9", 0, frames(closeWith(1011, "")), nil, closed(1011)},
	{"7.7.10", 0, frames(closeWith(3000, "")), nil, closed(3000)},
	{"7.7.11", 0, frames(closeWith(3999, "")), nil, closed(3999)},
	{"7.7.12", 0, frames(closeWith(4000, "")), nil, closed(4000)},
	{"7.7.13", 0, frames(closeWith(4999, "")), nil, closed(4999)},

	{"7.9.1", 0, frames(closeWith(0, "")), nil, fails(brokenRule)},
	{"7.9.2", 0, frames(closeWith(999, "")), nil, fails(brokenRule)},
	{"7.9.3", 0, frames(closeWith(1004, "")), nil, fails(brokenRule)},
	{"7.9.4", 0, frames(closeWith(1005, "")), nil, fails(brokenRule)},
	{"7.9.5", 0, frames(closeWith(1006, "")), nil, fails(brokenRule)},
	{"7.9.6", 0, frames(closeWith(1016, "")), nil, fails(brokenRule)},
	{"7.9.7", 0, frames(closeWith(1100, "")), nil, fails(brokenRule)},
	{"7.9.8", 0, frames(closeWith(2000, "")), nil, fails(brokenRule)},
	{"7.9.9", 0, frames(closeWith(2999, "")), nil, fails(brokenRule)},

	// Upstream accepts any result. RFC 6455 §7.4.2 does not define these codes.
	{"7.13.1", 0, frames(closeWith(5000, "")), nil, fails(brokenRule)},
	{"7.13.2", 0, frames(closeWith(65535, "")), nil, fails(brokenRule)},
}
