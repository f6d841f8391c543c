// Package checkup shows people, or programs, the steps of a check.
package checkup
