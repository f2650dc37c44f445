"""An RTSP server on GStreamer, run by the system's Python: camera_rtsp_server.py PORT FPS [USER:PASSWORD]."""

import sys

import gi  # type: ignore[import-not-found]  # of the system's Python

gi.require_version("Gst", "1.0")
gi.require_version("GstApp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from camera_picture import HEIGHT, WIDTH, now_code, picture  # noqa: E402 -- gi has to be told the versions first
from gi.repository import GLib, Gst, GstRtspServer  # type: ignore[import-not-found]  # noqa: E402

LAUNCH = (
    "( appsrc name=pictures is-live=true do-timestamp=true format=time max-buffers=2 leaky-type=downstream "
    "caps=video/x-raw,format=BGR,width={width},height={height},framerate={fps}/1 "
    "! videoconvert ! video/x-raw,format=I420 "
    "! x264enc tune=zerolatency speed-preset=ultrafast key-int-max={fps} bitrate=4000 threads=1 "
    "! rtph264pay name=pay0 pt=96 config-interval=-1 )"
)


def feed(_factory: GstRtspServer.RTSPMediaFactory, media: GstRtspServer.RTSPMedia, fps: int) -> None:
    source = media.get_element().get_by_name("pictures")

    def push() -> bool:
        flow = source.emit("push-buffer", Gst.Buffer.new_wrapped(picture(now_code())))
        return flow in (Gst.FlowReturn.OK, Gst.FlowReturn.FLUSHING) and source.get_parent() is not None

    timer = GLib.timeout_add(1000 // fps, push)
    media.connect("unprepared", lambda _media: GLib.source_remove(timer))


def main() -> None:
    port, fps, login = sys.argv[1], int(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else ""
    Gst.init(None)
    server = GstRtspServer.RTSPServer(address="127.0.0.1", service=port)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(LAUNCH.format(width=WIDTH, height=HEIGHT, fps=fps))
    factory.set_shared(False)  # a media shared by clients that come and go stops giving pictures
    factory.connect("media-configure", feed, fps)
    if login:
        user, _, password = login.partition(":")
        auth = GstRtspServer.RTSPAuth()
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "viewer")
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
        server.set_auth(auth)
        permissions = GstRtspServer.RTSPPermissions()
        permissions.add_permission_for_role("viewer", "media.factory.access", True)
        permissions.add_permission_for_role("viewer", "media.factory.construct", True)
        factory.set_permissions(permissions)
    server.get_mount_points().add_factory("/cam", factory)
    if not server.attach(None):
        sys.exit(f"port {port} is taken")
    print("ready", flush=True)
    GLib.MainLoop().run()


main()
