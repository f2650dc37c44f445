/* Stands in for the kernel's DMA buffers where there are none, so that libcamera's virtual camera runs in a container.
 *
 * Loaded with LD_PRELOAD. A buffer from a heap below /dev/dma_heap is an anonymous memory file, which can be mapped just
 * as well; /dev/udmabuf, which would make a DMA buffer of a memory file, hands that file back. Names of buffers and cache
 * maintenance mean nothing for such memory and succeed.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <linux/udmabuf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

typedef int (*open_function)(const char *, int, ...);
typedef int (*ioctl_function)(int, unsigned long, ...);

static int is_allocator(const char *path)
{
	return path && (!strcmp(path, "/dev/udmabuf") || !strncmp(path, "/dev/dma_heap/", 14));
}

static int open_or_pretend(const char *name, const char *path, int flags, mode_t mode)
{
	if (is_allocator(path))
		return memfd_create("allocator", MFD_CLOEXEC);
	return ((open_function)dlsym(RTLD_NEXT, name))(path, flags, mode);
}

static mode_t mode_of(int flags, va_list rest)
{
	return flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
}

int open(const char *path, int flags, ...)
{
	va_list rest;
	va_start(rest, flags);
	mode_t mode = mode_of(flags, rest);
	va_end(rest);
	return open_or_pretend("open", path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
	va_list rest;
	va_start(rest, flags);
	mode_t mode = mode_of(flags, rest);
	va_end(rest);
	return open_or_pretend("open64", path, flags, mode);
}

static int allocate(struct dma_heap_allocation_data *wanted)
{
	int memory = memfd_create("buffer", MFD_CLOEXEC);
	if (memory < 0 || ftruncate(memory, wanted->len) < 0)
		return -1;
	wanted->fd = memory;
	return 0;
}

int ioctl(int handle, unsigned long request, ...)
{
	va_list rest;
	va_start(rest, request);
	void *argument = va_arg(rest, void *);
	va_end(rest);
	if (request == UDMABUF_CREATE)
		return dup(((struct udmabuf_create *)argument)->memfd);
	if (request == DMA_HEAP_IOCTL_ALLOC)
		return allocate(argument);
	if (request == DMA_BUF_IOCTL_SYNC || request == DMA_BUF_SET_NAME_A || request == DMA_BUF_SET_NAME_B)
		return 0;
	return ((ioctl_function)dlsym(RTLD_NEXT, "ioctl"))(handle, request, argument);
}
