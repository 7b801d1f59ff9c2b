"""Write a bundle: graphs, weights and the small files beside them."""
