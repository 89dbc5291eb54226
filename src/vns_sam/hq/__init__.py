"""HQ-SAM (Ke et al., NeurIPS 2023), the method that VNS-SAM is compared with."""
