package pool_test

import (
	"fmt"
	"log"
	"os"

	"github.com/tunnelpool/pool"
)

// A pool that its operator sets up, by variables that begin with CACHE_POOL.
func ExampleConfigFromEnv() {
	os.Setenv("CACHE_POOL_ADDRESS", "cache.example:6379") // as a unit or a container's description would
	os.Setenv("CACHE_POOL_MAX_OPEN", "8")
	os.Setenv("CACHE_POOL_MAX_AGE", "1h")
	os.Setenv("CACHE_POOL_CHECK_EVERY", "never")

	cfg, err := pool.ConfigFromEnv("CACHE_POOL")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(cfg.Address, cfg.MaxOpen, cfg.MaxAge)

	os.Setenv("CACHE_POOL_MAX_AGE", "1 hour")
	_, err = pool.ConfigFromEnv("CACHE_POOL")
	fmt.Println(err)
	os.Unsetenv("CACHE_POOL_MAX_AGE")

	os.Setenv("CACHE_POOL_MAXAGE", "1h")
	_, err = pool.ConfigFromEnv("CACHE_POOL")
	fmt.Println(err)
	// Output:
	// cache.example:6379 8 1h0m0s
	// pool: CACHE_POOL_MAX_AGE is "1 hour"; it must be a duration with a unit, as 30s, 5m or 1h30m
	// pool: "CACHE_POOL_MAXAGE" is not known; did you mean CACHE_POOL_MAX_AGE?
}
