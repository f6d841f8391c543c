//go:build unix

package main

import (
	"context"
	"errors"
)

func crowd(ctx context.Context, o options, count int) ([]string, error) {
	return nil, errors.ErrUnsupported
}
