"""Claims: registered with their whole plan, then decided on seeds that nobody could choose."""
