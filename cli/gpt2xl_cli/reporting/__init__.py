"""What commands say of amounts, times and results."""
