package dialh2_test

import (
	_ "github.com/edgews/edgews"
	_ "github.com/edgews/edgews/edgewsh2"
	_ "github.com/stretchr/testify/require"
)
