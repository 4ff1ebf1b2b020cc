{{ mapped_rows('campaign') }}
