"""Lists of tags and referrers: fetched, filtered by a tag rule, and paged."""
