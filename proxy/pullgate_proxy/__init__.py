"""Request in, response out: the proxy that checks a license and forwards the pull. Imports core, never the operator."""
