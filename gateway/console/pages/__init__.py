"""The console's pages: HTML that is rendered here, with a little script. Everything that a page shows or does is an
operation."""
