"""The service: a page to click on, a REST interface, and what labelling tools plug into, over one core."""
