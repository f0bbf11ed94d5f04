using System.CommandLine;
using Blkring.Commands.Control;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Xenbus;
using Blkring.Settings;

namespace Blkring.Commands.Attach;

/// <summary>
/// <c>blkring attach</c> and <c>blkring detach</c>: a disk for a guest where xl is too old to name this backend.
/// </summary>
internal static class AttachCommand
{
    // As long as xl waits for a backend.
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(10);

    private static readonly Argument<string?> s_image = new("PATH")
    {
        Description = "The image or block device, as the backend's domain sees it; a CD-ROM drive without one is empty",
        Arity = ArgumentArity.ZeroOrOne,
    };

    private static readonly Option<string> s_backend = new(ServeKey.Backend.Option)
    {
        Description = "The backend directory that the daemon serves",
        HelpName = ServeKey.Backend.HelpName,
        DefaultValueFactory = _ => ServeKey.Backend.Default,
        Validators = { result => Complain(result, ServeKey.Backend) },
    };

    private static readonly Option<ushort> s_backendDomain = new("--backend-domain")
    {
        Description = "The domain that the daemon runs in",
        HelpName = ServeKey.Frontend.HelpName,
        DefaultValueFactory = _ => 0,
        // The same limits as a frontend's.
        CustomParser = result =>
        {
            if (ServeKey.Frontend.Complain(result.Tokens[0].Value) is not string advice)
                return ushort.Parse(result.Tokens[0].Value, System.Globalization.CultureInfo.InvariantCulture);
            result.AddError($"--backend-domain {result.Tokens[0].Value}: {advice}");
            return 0;
        },
    };

    private static readonly Option<bool> s_readOnly = new("--read-only") { Description = "The guest may not write" };
    private static readonly Option<bool> s_cdrom = new("--cdrom")
    {
        Description = "A CD-ROM drive: read-only, and the medium can be changed",
    };
    private static readonly Option<bool> s_force = new("--force")
    {
        Description = "Remove the device even if the daemon does not let go of it within 10 s",
    };

    public static IEnumerable<Command> Create()
    {
        Command attach = new(
            "attach",
            """
            Attaches a disk to a guest by writing to xenstore what xl of Xen 4.19 writes. With that or a later xl use
            backendtype=tap,script=block-blkring instead: xl then also removes the disk when the guest ends.
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
            "Takes a disk that 'blkring attach' attached from its guest; also when the guest is gone."
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

    private static void Complain(System.CommandLine.Parsing.OptionResult result, ServeKey key)
    {
        if (result.Tokens is [var token] && key.Complain(token.Value) is string advice)
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
            // Another domain's folders are not ours to look at.
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
            throw new UsageException("name an image: only a CD-ROM drive (--cdrom) may be empty");
        if (request.Image.Length > 0 && request.BackendDomain.Value == 0 && !File.Exists(request.Image))
            throw new UsageException($"{request.Image} does not exist, or is no file");
        if (!areas.DomainExists)
            throw new UsageException($"there is no domain {request.Device.Frontend}: see 'xl list'");
        if (areas.Exist)
            throw new UsageException($"{request.Device} is attached already: detach it first");
        areas.Create();
        if (!areas.WaitFor(state => state is not (XenbusState.Initialising or XenbusState.Unknown), s_patience))
        {
            areas.Remove();
            throw new IOException(
                $"no daemon took {request.Device} within {s_patience.TotalSeconds:F0} s: start one with 'systemctl start blkring', and let it serve {request.Backend}"
            );
        }
        if (areas.BackendState is not (XenbusState.Closing or XenbusState.Closed))
            return;
        string why = areas.Error ?? "the daemon's log says why";
        areas.Remove();
        throw new IOException($"{request.Device} cannot be served: {why}");
    }

    private static void Detach(DiskRequest request, DeviceAreas areas, bool force)
    {
        if (!areas.Exist)
            throw new UsageException($"{request.Device} is not attached in {request.Backend}: see 'blkring list'");
        areas.AskToClose();
        bool closed = areas.WaitFor(state => state is XenbusState.Closed or XenbusState.Unknown, s_patience);
        if (!closed && !force)
            throw new IOException(
                $"the daemon has not let go of {request.Device} within {s_patience.TotalSeconds:F0} s: is a disk stuck, or the daemon stopped? --force removes the device all the same"
            );
        areas.Remove();
    }
}
