package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func newHealth() *cobra.Command {
	var addr string
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Ask a running worker whether it is ready; exit 1 and why if it is not",
	}
	s := newSettings(cmd, func(cmd *cobra.Command) error {
		body, err := askReady(cmd.Context(), addr)
		fmt.Fprint(cmd.OutOrStdout(), body)
		return err
	})
	s.text(&addr, "http", "127.0.0.1:9464", "the address that run --http listens on", hostPort)
	return cmd
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 64 << 10

func askReady(ctx context.Context, addr string) (body string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/readyz", http.NoBody)
	if err != nil {
		return "", usageError{fmt.Errorf("--http: %w", err)}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", fmt.Errorf("ask the worker: %w", err)
	}
	defer resp.Body.Close()
	var b strings.Builder
	if _, err := io.Copy(&b, io.LimitReader(resp.Body, maxAnswer)); err != nil {
		return "", fmt.Errorf("ask the worker: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return b.String(), fmt.Errorf("not ready: %s", resp.Status)
	}
	return b.String(), nil
}
