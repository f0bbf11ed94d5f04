using System.CommandLine;
using Blkring.Commands.Control;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Xenbus;
using Blkring.Settings;

namespace Blkring.Commands.Attach;

/// <summary>
/// <c>blkring attach</c> and <c>blkring detach</c>: for hosts whose xl is too old for this backend.
/// </summary>
internal static class AttachCommand
{
    // As long as xl waits for a backend.
    private static readonly TimeSpan s_timeout = TimeSpan.FromSeconds(10);

    private static readonly Argument<string?> s_image = new("PATH")
    {
        Description =
            "The image or block device, as the backend's domain sees it. A CD-ROM drive without one is empty.",
        Arity = ArgumentArity.ZeroOrOne,
    };

    private static readonly Option<string> s_backend = new(ServeKey.Backend.Option)
    {
        Description = "The backend directory that the daemon serves.",
        HelpName = ServeKey.Backend.Setting.Form,
        DefaultValueFactory = _ => BackendSettings.Backend.Default,
        Validators = { result => Validate(result, ServeKey.Backend) },
    };

    private static readonly Option<ushort> s_backendDomain = new("--backend-domain")
    {
        Description = "The domain that the daemon runs in.",
        HelpName = ServeKey.Frontend.Setting.Form,
        DefaultValueFactory = _ => 0,
        // A domain, with the same limits as a frontend's.
        CustomParser = result =>
        {
            if (ServeKey.Frontend.Validate(result.Tokens[0].Value) is not string advice)
                return ushort.Parse(result.Tokens[0].Value, System.Globalization.CultureInfo.InvariantCulture);
            result.AddError($"--backend-domain {result.Tokens[0].Value}: {advice}");
            return 0;
        },
    };

    private static readonly Option<bool> s_readOnly = new("--read-only")
    {
        Description = "Refuse writes of the guest.",
    };
    private static readonly Option<bool> s_cdrom = new("--cdrom")
    {
        Description = "Attach a CD-ROM drive: read-only, with a medium that can be changed.",
    };
    private static readonly Option<bool> s_force = new("--force")
    {
        Description = "Remove the device even if the daemon does not release it within 10 s.",
    };

    public static IEnumerable<Command> Create()
    {
        Command attach = new(
            "attach",
            """
            Attaches a disk to a guest by writing to xenstore what xl of Xen 4.19 writes. With xl 4.19 or later use
            backendtype=tap,script=block-blkring instead: then xl also removes the disk when the guest ends.
            """
        )
        {
            ControlOptions.Device,
            s_image,
            s_readOnly,
            s_cdrom,
            s_backend,
            s_backendDomain,
        };
        attach.SetAction(parsed => WithAreas(parsed, Attach));
        Command detach = new(
            "detach",
            "Detaches a disk that 'blkring attach' attached, also after the guest has ended."
        )
        {
            ControlOptions.Device,
            s_force,
            s_backend,
            s_backendDomain,
        };
        detach.SetAction(parsed =>
            WithAreas(parsed, (request, areas) => Detach(request, areas, parsed.GetValue(s_force)))
        );
        return [attach, detach];
    }

    private static void Validate(System.CommandLine.Parsing.OptionResult result, ServeKey key)
    {
        if (result.Tokens is [var token] && key.Validate(token.Value) is string advice)
            result.AddError($"{key.Option} {token.Value}: {advice}");
    }

    private static int WithAreas(ParseResult parsed, Action<DiskRequest, DeviceAreas> work)
    {
        DomainId backendDomain = new(parsed.GetValue(s_backendDomain));
        string image = parsed.CommandResult.Command.Arguments.Contains(s_image) ? parsed.GetValue(s_image) ?? "" : "";
        DiskRequest request = new()
        {
            Device = ControlOptions.DeviceOf(parsed),
            Backend = parsed.GetRequiredValue(s_backend),
            BackendDomain = backendDomain,
            // A path of another domain cannot be resolved here.
            Image = image.Length > 0 && backendDomain.Value == 0 ? Path.GetFullPath(image) : image,
            ReadOnly = parsed.CommandResult.Command.Options.Contains(s_readOnly) && parsed.GetValue(s_readOnly),
            Cdrom = parsed.CommandResult.Command.Options.Contains(s_cdrom) && parsed.GetValue(s_cdrom),
        };
        using XenstoreConnection store = OpenStore();
        work(request, new DeviceAreas(store, request));
        return ExitCode.Ok;
    }

    private static XenstoreConnection OpenStore()
    {
        try
        {
            return XenstoreConnection.Open();
        }
        catch (XenstoreException e)
        {
            throw new XenMissingException(e.Message);
        }
    }

    private static void Attach(DiskRequest request, DeviceAreas areas)
    {
        if (request.Image.Length == 0 && !request.Cdrom)
            throw new UsageException("give an image: only a CD-ROM drive (--cdrom) may be empty");
        if (request.Image.Length > 0 && request.BackendDomain.Value == 0 && !File.Exists(request.Image))
            throw new UsageException($"{request.Image} does not exist, or is not a file");
        if (!areas.DomainExists)
            throw new UsageException($"there is no domain {request.Device.Frontend}: see 'xl list'");
        if (areas.Exist)
            throw new UsageException($"{request.Device} is already attached: detach it first");
        areas.Create();
        if (!areas.WaitFor(state => state is not (XenbusState.Initialising or XenbusState.Unknown), s_timeout))
        {
            areas.Remove();
            throw new IOException(
                $"no daemon took {request.Device} within {s_timeout.TotalSeconds:F0} s: start one with "
                    + $"'systemctl start blkring' that serves {request.Backend}"
            );
        }
        if (areas.BackendState is not (XenbusState.Closing or XenbusState.Closed))
            return;
        string why = areas.Error ?? "see the daemon's log";
        areas.Remove();
        throw new IOException($"{request.Device} cannot be served: {why}");
    }

    private static void Detach(DiskRequest request, DeviceAreas areas, bool force)
    {
        if (!areas.Exist)
            throw new UsageException($"{request.Device} is not attached in {request.Backend}: see 'blkring list'");
        areas.AskToClose();
        bool closed = areas.WaitFor(state => state is XenbusState.Closed or XenbusState.Unknown, s_timeout);
        if (!closed && !force)
            throw new IOException(
                $"the daemon did not release {request.Device} within {s_timeout.TotalSeconds:F0} s: "
                    + "check that it runs and that the disk responds, or use --force"
            );
        areas.Remove();
    }
}
