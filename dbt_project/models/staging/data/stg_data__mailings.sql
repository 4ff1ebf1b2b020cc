{{ mapped_rows('mailing') }}
