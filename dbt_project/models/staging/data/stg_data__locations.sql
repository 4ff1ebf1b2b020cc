{{ mapped_rows('location') }}
