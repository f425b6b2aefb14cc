"""The proxy as others see it: metrics, the access log, the admin port."""
