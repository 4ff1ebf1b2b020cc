{{ mapped_rows('wage') }}
