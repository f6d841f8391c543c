//go:build !unix

package service

import "errors"

func bindOnly(uintptr, string, string) error { return errors.ErrUnsupported }
