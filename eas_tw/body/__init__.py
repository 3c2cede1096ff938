"""What a predict call carries: requests, responses, their tensors and their signature."""
