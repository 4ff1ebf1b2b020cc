{{ mapped_rows('employee') }}
