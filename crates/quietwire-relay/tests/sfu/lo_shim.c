// LD_PRELOAD for Janus, which offers no ICE candidates of loopback interfaces: removes the loopback flag.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stddef.h>

int getifaddrs(struct ifaddrs **list) {
  int (*next)(struct ifaddrs **) = (int (*)(struct ifaddrs **))dlsym(RTLD_NEXT, "getifaddrs");
  int status = next(list);
  for (struct ifaddrs *item = status == 0 ? *list : NULL; item; item = item->ifa_next)
    item->ifa_flags &= ~(unsigned)IFF_LOOPBACK;
  return status;
}
