{{ mapped_rows('review') }}
