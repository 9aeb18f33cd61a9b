"""Services as iptables rules: watch, compile, compare with what the kernel has, restore the difference."""
